"""What people ask of a clip, topic by topic, and what is answered, as templates for `phrases.say`.

Answers only ever say what their slots hold, or what is true of every clip of their key. Slots: {where} and {when} "in
the top left" and "from 2.1 s to 4.0 s", {span} both together, {start}, {end}, {peak} and {length} times in words,
{reason} what was measured, {event} what happens where that is known, {motion} and {camera} of the whole clip.
"""

from __future__ import annotations

QUESTIONS: dict[str, tuple[str, ...]] = {
    "whether": (
        "Does [anything|something] unusual happen[| here| in this clip]?",
        "Do you notice [anything|something][| here| in the clip]?",
        "Is something going on[| here| in this clip]?", "[So, |]what did you find[| in this clip]?",
        "Anything [I should know|to report][| about this clip]?", "Should I [watch|look at] this clip?",
    ),
    "where": (
        "Where [is it|does it happen|was it|was that|should I look]?", "Where in the [picture|clip|frame] is it?",
        "[Which|What] part of the [picture|frame] should I look at?", "In which part of the picture[| is it]?",
        "Show me where[| it happens].", "And where?", "What place do you mean?",
    ),
    "what": (
        "What happens[| here| in this clip| there]?", "What [happened|did you see|is going on|goes on][| here| there]?",
        "Describe what happens[|, please].", "What is [it|that]?", "What did it do?", "Tell me what you saw.",
    ),
    "why": (
        "Why[ is it unusual| do you think so| is that unusual| is this anomalous|]?", "What makes it unusual?",
        "What is [unusual|odd|wrong] about it?", "How do you know?", "On what grounds?", "Why not normal?",
    ),
    "start": (
        "From what second on[| is it there]?", "At what second does it [begin|start]?", "How early does it begin?",
        "What is the first second of it?", "Since what second?",
    ),
    "until": (
        "Until what second[| does it last| is it there]?", "At what second does it end?",
        "To what second does it go on?",
        "What is the last second of it?",
    ),
    "peak": (
        "Which [moment|second|frame] is the [most suspicious|worst|clearest]?", "What is the most suspicious moment?",
        "[Which|What] frame should I look at[| first]?", "In which frame is it seen best?",
    ),
    "time": (
        "What happens at {time}?", "What about [|second ]{time}?", "And at {time}?", "How is it at {time}?",
        "What do you see at {time}?",
    ),
    "first": (
        "What is [in|at] the first frame?", "How does [it|the clip] begin?", "What happened at the first key frame?",
        "What was there at the beginning?", "Describe the first key frame.",
    ),
    "last": (
        "What is [in|at] the last frame?", "How does [it|the clip] end?", "Describe the last key frame.",
        "What does the last key frame show?",
    ),
    "end": (
        "Is it still there at the end?", "Does it [stay|last] until the end?", "Is it over at the end?",
        "Is it gone at the end?", "Does it go on until the clip ends?",
    ),
    "keys": (
        "Which [|key ]frames did you look at[| closely]?", "What are the key frames?", "Which frames matter?",
        "Give me the times of the key frames.",
    ),
    "many": (
        "How often does [it|something unusual] happen?", "How many times[| does it happen]?",
        "How many [stretches|events|spans] are there?", "Does it happen [more than once|again]?",
    ),
    "moves": (
        "What moves[| here| in the clip]?", "Does anything move?", "What is moving?", "Describe the motion.",
        "How do things move[| here]?",
    ),
    "count": (
        "How many things move[| at once]?", "How much [moves|is moving] at once?", "How many are moving?",
    ),
    "way": ("Which way do [things|they] [go|move]?", "In what direction do [things|they] move?", "Where do they go?"),
    "speed": ("How fast [do things move|is it|are they]?", "At what speed do things move?", "What speed is usual?"),
    "broken": (
        "Which rule[ is broken| does it break| was broken|]?", "Is [a|any] rule broken?", "Do the rules hold?",
        "Does it break a rule?", "[Are|Were] all rules kept?", "What about the rules?",
    ),
    "rules": (
        "[Which|What] rules [hold|apply|are there][| here]?", "What are the rules?", "Tell me the rules.",
        "What counts as usual here?",
    ),
    "action": (
        "What should I do[| now]?", "What now?", "What do you [advise|suggest|recommend]?", "What is the next step?",
        "Do I need to do something?",
    ),
    "size": ("How big is it?", "How large is [it|the place]?", "What share of the picture is it?", "What is its size?"),
    "held": (
        "What did you compare it with?", "Compared with what?", "What is it held against?", "What is your reference?",
        "Did you have a normal clip?",
    ),
    "summary": (
        "[Sum it up|Summarise the clip|Summarise it|Give me a summary][|, please].", "In short?", "Describe the clip.",
        "Give me a report[| of this clip].", "Put it in a sentence.",
    ),
    "sure": (
        "Could you be wrong?",
        "Could it be a false alarm?", "Can I rely on that?", "Really?",
    ),
    "beyond": (
        "Who is [it|that|the person]?", "What is [his|her|their] name?", "What happens after the clip?",
        "What happened before the clip?", "Where was [it|this|the clip] filmed?", "What day was it?",
        "What does it sound like?", "Why did they do it?", "Who filmed [it|this]?", "What will happen next?",
        "What is outside of the picture?", "How old is that person?", "Was it on purpose?", "Who is to blame?",
        "What did they say?", "What make is it?", "What is the weather forecast?", "What is the number plate?",
        "Did the police come?", "How cold was it?", "What does the person think?",
    ),
    "thanks": ("Thanks[!|.| a lot.]", "Thank you[!|.| very much.]", "[Okay|Great|Good], thanks[.|!]"),
}  # fmt: skip
"""Questions of each topic. None asks for the verdict or when: those answers are measured, not made."""

ANSWERS: dict[str, tuple[str, ...]] = {
    "whether": ("Yes, {span}: {reason}.", "Yes. {reason}, {span}.", "Yes: {reason}, {span}."),
    "whether, normal": (
        "No. Nothing in the clip stands out.", "No, everything goes as usual in the {length}.",
        "No. I looked through the {length} and nothing stands out.", "Nothing stands out in this clip.",
    ),
    "where": ("{where}, {when}.", "It is {where}, {when}.", "Look {where}, {when}.", "{where} of the picture, {when}."),
    "where, nowhere": (
        "The map shows no single place; it is {when}.", "I cannot point to one place: it is {when}.",
    ),
    "where, normal": (
        "Nowhere: nothing in the clip stands out.", "There is no place to point to: nothing stands out.",
        "There is none: the clip looks normal.",
    ),
    "what": ("{event}: {reason}, {span}.", "It looks as if {event_lower}, {span}: {reason}.", "{event}, {span}."),
    "what, unknown": (
        "{reason}, {span}.", "{reason}, {span}. What it is I cannot say for sure.",
        "I see that {reason}, {span}. More I cannot tell.",
    ),
    "what, normal": (
        "Nothing unusual. {motion}", "Nothing stands out. {motion}", "Only what is usual. {motion}",
        "Nothing unusual happens in this clip.",
    ),
    "why": ("Because {reason}.", "{reason}, {span}.", "What was measured {when}: {reason}."),
    "why, known": ("Because {reason}. It looks as if {event_lower}.", "{event}: {reason}."),
    "why, normal": (
        "It is not unusual: nothing in the clip stands out.", "Nothing is unusual here.",
        "The score stays under its threshold throughout the {length}.",
    ),
    "start": ("From {start} on.", "It begins at {start}.", "At {start}."),
    "until": ("Until {end}.", "It ends at {end}.", "To {end}."),
    "until, end": ("Until the end of the clip, at {end}.", "It lasts until the clip ends, at {end}."),
    "never": ("At none: nothing in the clip stands out.", "There is no such moment: nothing stands out."),
    "peak": ("The frame at {peak}.", "At {peak}.", "At {peak}: {reason}."),
    "peak, where": ("At {peak}, {where}.", "The frame at {peak}: look {where}."),
    "peak, normal": (
        "None stands out. The highest score is at {peak}, and it is normal.",
        "The clip looks normal; if any, the frame at {peak}.",
    ),
    "time, in": ("{time} lies in the unusual stretch, {span}: {reason}.", "At {time} {reason}; it lasts {when}."),
    "time, out": (
        "Nothing stands out at {time}; what is unusual goes {when}.", "At {time} all is usual; look {when} instead.",
    ),
    "time, normal": ("Nothing stands out at {time}.", "All is usual at {time}, as in the whole clip."),
    "time, over": ("The clip has ended by then: it is {length} long.", "There is no such moment: it ends at {length}."),
    "key, lit": (
        "At {time} the frame is {band}; the map is lit {where}.", "The frame at {time} is {band}, lit {where}.",
    ),
    "key, dark": (
        "At {time} the frame is {band}; no single place stands out.",
        "The frame at {time} is {band}, without one place.",
    ),
    "end, yes": ("Yes, it lasts until the end of the clip.", "Yes: it goes on until the clip ends at {end}."),
    "end, no": ("No, it ends at {end}, before the clip does.", "No: it is over at {end}; the clip is {length} long."),
    "over, yes": ("Yes, it ends at {end}, before the clip does.", "Yes: it is over at {end}."),
    "over, no": ("No, it lasts until the end of the clip.", "No: it goes on until the clip ends at {end}."),
    "end, normal": ("There is nothing to be there: nothing in the clip stands out.", "Nothing stands out, to the end."),
    "keys": ("At {times}.", "The frames at {times}.", "I looked closely at {times}."),
    "many, once": ("Once, {span}.", "One stretch, {span}.", "Only once: {span}."),
    "many": ("{count} times: {spans}.", "{count} stretches: {spans}."),
    "many, more": ("At least {count} times: {spans}.",),
    "many, normal": ("Never: nothing in the clip stands out.", "Not once.", "None: nothing in the clip stands out."),
    "moves": ("{motion}",),
    "count": ("At most {most} {things} at once.", "{most} at once at most.", "Not more than {most} at once."),
    "count, none": ("None: nothing moves.", "Nothing moves.",),
    "way": ("Mostly {way}.", "They go {way} mostly.", "Mostly {way}, seen in the picture."),
    "speed": ("At about {speed} picture widths a second.", "About {speed} picture widths a second."),
    "broken": (
        "The rule \"{rule}\" is broken: {instead}.", "\"{rule}\" does not hold: {instead}.",
        "\"{rule}\" is not kept: {instead}.",
    ),
    "broken, when": (
        "The rule \"{rule}\" is broken {span}: {instead}.", "\"{rule}\" does not hold: {instead}, {span}.",
    ),
    "broken, unlisted": (
        "None of the rules names it: {reason}, {span}.", "No rule speaks of it; still, {reason}, {span}.",
    ),
    "broken, unsure": (
        "I cannot say which rule it breaks: {reason}, {span}.", "That is hard to tell: {reason}, {span}.",
    ),
    "broken, none": (
        "I see no rule broken: nothing in the clip stands out.",
        "As far as I can see every rule is kept; nothing stands out.",
    ),
    "no rules": ("No rules were given.", "There are no rules for this clip.", "None were given."),
    "rules": ("{rules}", "These: {rules}"),
    "action": (
        "Watch the clip {when}, and have a person check it.", "Have a person look at it, {span}.",
        "Check what happens {span} before you go on.",
    ),
    "action, normal": (
        "Nothing: the clip looks normal.", "Nothing needs to be done; nothing stands out.",
        "No step is needed. Keep watching as usual.",
    ),
    "size": ("At {peak} it covers {share} of the picture: {size}.", "{share} of the picture, {size}, at {peak}."),
    "size, none": ("The map shows no single place to measure.", "That cannot be measured: no single place is lit."),
    "held": ("I compared it with {normal}.", "It was held against {normal}."),
    "held, alone": (
        "I had nothing but the clip itself.", "No normal clip was given: it was held against itself.",
        "I compared it only with the rest of this clip.",
    ),
    "summary": (
        "A clip of {length}, the camera is {camera}. {reason}, {span}.",
        "In {length} one thing stands out: {reason}, {span}.",
    ),
    "summary, known": ("A clip of {length}, the camera is {camera}. {event}, {span}: {reason}.",),
    "summary, normal": (
        "A clip of {length}, the camera is {camera}. Nothing stands out.",
        "A clip of {length}. {motion} Nothing stands out.",
    ),
    "sure": (
        "Not beyond doubt: clips are judged less reliably than pictures. Please have a person confirm it.",
        "I may be wrong; take it as a hint.", "As sure as the measurements allow. A person should confirm it.",
    ),
    "beyond": (
        "The clip does not show that.", "I cannot tell that from the clip.", "That cannot be seen in the clip.",
        "I do not know; the clip says nothing about it.",
    ),
    "thanks": ("You are welcome.", "Glad to help.", "Any time."),
}  # fmt: skip
"""Answers by what is asked and what is known."""
