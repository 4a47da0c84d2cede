"""What people ask of an inspector, topic by topic, as templates for `phrases.say`.

Slots: {thing} a word for what is inspected, {defect} a word for the defect ("crack", "spot"), {noun} a kind with its
article, {place} a place word, {in_place} the same with its preposition.
"""

from __future__ import annotations

from assistant.prompts import DEFAULT_QUESTION

VERDICT = (
    DEFAULT_QUESTION,
    "Is there anything wrong [here|with this {thing}|in this picture]?",
    "Is something [wrong|off|not right] [here|with this {thing}]?",
    "[Any|Are there any|Do you see any|Can you find any] [defects|flaws|faults|problems]?",
    "[Any|Is there any|Do you see any|Can you find any] damage[| here| on this {thing}]?",
    "Is this {thing} [defective|damaged|faulty]?",
    "Does this {thing} have [a defect|a flaw|a problem]?",
    "Do you see [a defect|a flaw|anything unusual|an anomaly][| here]?",
    "[Please check|Check|Inspect|Have a look at] this {thing}. Is there [a problem|a defect|an anomaly]?",
    "Anything [unusual|wrong|odd|to worry about][| here| on this {thing}]?",
    "Is there an anomaly in [this|the] picture?",
    "I need a quick check: is [there a defect|anything wrong]?",
    "Does anything [stand out|look wrong|look odd][| on this {thing}]?",
)  # fmt: skip
BRIEF = (
    "Are there any defects for the object in the image? Please reply with 'Yes' or 'No'.",
    "Is there a defect[| in this picture]? [Answer|Reply] [only |]with 'Yes' or 'No'.",
    "Is this {thing} defective? Just say 'Yes' or 'No'.",
)
"""Questions that want one word; "'Yes' or 'No'" is in each of them."""

FINE = (
    "Is [it|this|this {thing}|the {thing}] [normal|OK|okay|fine|all right]?",
    "Does [it|this|this {thing}|the {thing}] look [normal|OK|okay|fine|right]?",
    "Is everything [normal|OK|okay|fine|all right][| here| with this {thing}]?",
    "Normal or [not|anomalous|abnormal]?",
)
"""Verdict questions the other way round: answers begin with "Normal" or "Not normal", for a yes could mean both."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "where": (
        "Where[| exactly] is [it|the {defect}]?", "Where[| exactly]?", "[Show|Tell] me where[| it is].",
        "[Can|Could] you [tell me the location|show me the place|point to it]?",
        "In which [part|corner|area] of the picture[| is it| is the {defect}]?", "Where should I look?",
        "Where do you see [it|the {defect}|a problem]?", "Location?", "Which [part|area] is affected?",
        "Please [point out|locate] the {defect}.", "What is the position of the {defect}?",
    ),
    "kind": (
        "What kind of [defect|flaw|problem|damage] is it?", "What is [it|that|wrong|the defect]?",
        "Which [type|kind|sort] of defect[| is it]?", "Name the defect.", "What do you call it?",
        "What am I looking at?", "[Can|Could] you name [it|the defect]?", "How would you classify [it|the defect]?",
        "What [exactly |]is the problem?", "Do you know what it is?", "Please classify the defect.",
        "Type of defect?",
    ),
    "looks": (
        "What does [it|the {defect}] look like?", "How does [it|the {defect}] look?",
        "[Describe|Please describe] [it|the {defect}|what you see].", "Why do you think so?", "Why?",
        "What makes you [say|think] so?", "What shape [is it|does it have]?", "What [do you see|stands out] there?",
        "Is [it|the {defect}] darker or brighter than the rest?", "Tell me more about [it|the {defect}].",
        "How can you tell?", "What is the evidence?",
    ),
    "size": (
        "How [large|big] is [it|the {defect}]?", "How much of the picture does [it|the {defect}] cover?",
        "What is [its size|the size of the {defect}]?", "[Is it|Would you say it is] big or small?", "Size?",
        "How much of it is affected?", "How much is affected?", "Can you measure [it|the {defect}]?",
        "How far does [it|the {defect}] extend?", "What share of the picture is it?",
    ),
    "severity": (
        "How [serious|severe|bad] is [it|the {defect}]?", "Is [it|that|the {defect}] [serious|severe]?",
        "Is it a big problem?", "How would you rate [it|the severity]?", "Severity?", "Is it only cosmetic?",
        "Should I be worried?", "Minor or serious?", "How bad?", "Does it matter?", "Please rate the {defect}.",
    ),
    "many": (
        "How many [defects|spots|places] [are there|do you see|did you find]?", "Is it only one?", "Are there more?",
        "[Any|Are there any] other [spots|defects|places]?", "Just one or several?", "How many?",
        "Please count the [defects|spots].", "Is that all?", "Do you see more than one?",
    ),
    "cause": (
        "What [may|could|might] have caused [it|the {defect}|this]?", "What is the likely cause[| of the {defect}]?",
        "Where does [it|the {defect}] come from?", "How [could|did] this happen?", "Why did this happen?",
        "What went wrong?", "Likely cause?", "Cause?", "Any idea what caused [it|the {defect}]?",
        "What is the root cause?", "How does something like this happen?", "Where in production would this happen?",
    ),
    "effect": (
        "What [could|may] [it|the {defect}] lead to?", "What happens if I [ignore|leave] it?",
        "What are the consequences?", "Can it get worse?", "What is the risk?", "What [harm|damage] can it do?",
        "Consequences?", "What if nobody fixes it?", "Will the {defect} affect function?",
        "What does that mean for the {thing}?", "Why should I care?", "What could go wrong?",
    ),
    "action": (
        "What should I do[| now| about it| about the {defect}]?", "What do you [recommend|suggest|advise]?",
        "What is the next step?", "How do I [fix|repair] [it|this]?", "What now?", "What next?", "Any advice?",
        "How should we [react|handle it|proceed]?", "What would you do?", "Can it be repaired?", "Next step?",
        "What do I tell production?",
    ),
    "usable": (
        "Can I [still use|use|ship] [it|this {thing}]?", "Is [it|this {thing}] good enough?",
        "Would you accept [it|this {thing}]?", "Pass or fail?", "Good or bad?", "Is it usable?",
        "Does [it|this {thing}] pass?", "Should I reject [it|this {thing}]?", "Keep or reject?", "May it be delivered?",
    ),
    "compare": (
        "[Compare|Please compare] it with the reference[s|].",
        "How does it [differ from|compare with] the reference[s|]?",
        "What is different [from|compared with] [a good one|the reference]?", "Does it match the reference[s|]?",
        "What about the reference[s|]?", "Difference to the reference?", "Is it like the good ones?",
        "How does it compare with a normal one?", "Did you use a reference?", "What changed against the reference?",
    ),
    "checked": (
        "What did you [check|look at|examine]?", "How did you [check it|come to that|decide]?",
        "How do you know[| that]?", "How does this work?", "What have you [checked|inspected]?",
        "Did you check [everything|the whole {thing}|every part]?", "What was inspected?",
        "What is your answer based on?", "Explain how you [got there|decided].",
    ),
    "sure": (
        "Are you [sure|certain|confident]?", "How [sure|certain|confident] are you?", "Really?",
        "Could you be wrong?", "Can I rely on [this|that|you]?", "Is that certain?", "No doubt?",
        "Would you bet on it?", "Could it be a false alarm?", "Might you have missed something?",
    ),
    "named": (
        "Is [it|this|that] {noun}?", "[Could|Can|Might] it be {noun}?", "Is there {noun}?", "Do you see {noun}?",
        "Would you call it {noun}?", "So it is {noun}?", "It looks like {noun}, right?", "Maybe {noun}?",
        "Isn't that {noun}?", "Does it have {noun}?",
    ),
    "there": (
        "What [is|do you see|is there] {in_place}?", "Is there [anything|something] {in_place}?",
        "What about the {place}?", "And {in_place}?", "How does the {place} look?", "Check the {place}[|, please].",
        "Do you see [anything|something] {in_place}?", "Look {in_place}[.|, please.]", "Is the {place} okay?",
    ),
    "describe": (
        "[Describe|Please describe] [the|this] picture.", "What does the picture show?", "What is in the picture?",
        "What kind of picture is it?", "Tell me about the picture.", "What do you see in the picture?",
        "Give me a description of the [picture|image].", "How would you describe [the|this] [picture|image]?",
        "Picture description?", "What does the image look like?", "Say something about the picture.",
    ),
    "brightness": (
        "Is the [picture|image] [dark or bright|bright or dark]?", "How [bright|dark] is [it|the picture|the image]?",
        "Is it well lit?", "How is the [lighting|brightness|exposure]?", "What is the brightness?", "Bright or dark?",
        "Is there enough light in the picture?", "Is the picture too dark?",
    ),
    "colour": (
        "[What|Which] colour is [it|the picture|this {thing}]?", "[What|Which] colours do you see?",
        "What is the [main|dominant] colour?", "Colour?", "What colours does the picture have?",
        "Is the picture grey or in colour?", "What color is it?", "How would you describe the colours?",
        "Is it colourful?", "Which colour stands out?",
    ),
    "orientation": (
        "[What|Which] [format|orientation] [is it|is the picture|does the picture have]?", "Is it upright or wide?",
        "Is the [picture|image] [wide or upright|upright or square|square]?", "Portrait or landscape?",
        "How is the picture oriented?", "Orientation?", "What is the shape of the picture?",
    ),
    "structure": (
        "[What|Which] [texture|structure] does [it|the picture|the surface] have?", "How is the [texture|surface]?",
        "Is [it|the surface] plain or structured?", "Is the [texture|structure] fine or coarse?", "Texture?",
        "How smooth does it look?", "What is the texture like?", "Does the picture have a texture?",
        "How detailed is the picture?",
    ),
    "summary": (
        "[Sum it up|Summarise it|Sum up][.|, please.]", "Give me a [short|brief] [report|summary].",
        "[Write|I need] a line for the [report|protocol|log].", "In one sentence?", "In short?", "Your conclusion?",
        "What is the [result|bottom line|finding]?", "Report?", "What do I write in the report?",
    ),
    "beyond": (
        "[Who|Which company|Which machine] made [it|this {thing}]?", "[What|How much] does [it|this {thing}] weigh?",
        "When was [it|this {thing}] made?", "What is the [serial number|batch number|price|part number]?",
        "How much does [it|this {thing}] cost?", "What is on the back[| side]?", "What does it look like inside?",
        "What temperature does it have?", "How old is [it|this {thing}]?", "Who is the supplier?", "Is it magnetic?",
        "Where was [it|this {thing}] made?", "Who took the picture?", "When was the picture taken?", "How hard is it?",
        "How long will it last?", "Is the other side fine?", "What does it sound like?", "Which shift made it?",
    ),
    "about": (
        "Who are you?", "What are you?", "What can you do?", "What is your [job|task|name]?", "What do you do?",
        "How can you help me?", "Are you a person?", "Introduce yourself.", "What are you for?", "What can I ask you?",
    ),
    "thanks": (
        "Thanks[!|.| a lot.| for the help.]", "Thank you[!|.| very much.]", "[Okay|Great|Good|Perfect], thanks[.|!]",
        "[Okay|Great|Perfect], thank you[.|!]", "That helps, thanks.", "Very helpful, thank you.",
    ),
}  # fmt: skip
"""Questions of each follow-up topic."""
