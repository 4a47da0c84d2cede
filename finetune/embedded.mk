# The shipped weights of `embedded`, stage by stage; included by the Makefile, started by `make train-embedded`.
# What is done is marked by a file; a stage that was stopped goes on where it was. To begin anew: rm -r runs/embedded

E := runs/embedded
LOOK := $(BIN)/python -m finetune.look --data $(DATA)
MARK = mkdir -p $(@D) && touch $@

# Each later look run brings fresh samples, seen once; the mean of the last three is kept.
LOOK1 := $(LOOK) --samples 6144 --own-normals 0.35 --referenced 0.5 --steps 1100 --out $(E)/look1
LOOK2 := $(LOOK) --go-on --seed 7 --samples 4480 --own-normals 0.7 --referenced 0.1 --steps 450 --rate 1.5e-3 \
	--out $(E)/look2
LOOK3 := $(LOOK) --go-on --seed 11 --samples 10240 --steps 640 --rate 1.5e-3 --no-mix-style --out $(E)/look
LOOK4 := $(LOOK) --go-on --seed 13 --samples 5120 --own-normals 0.6 --steps 320 --rate 1.2e-3 --no-mix-style \
	--out $(E)/look4

# While one run trains, the tower looks at the samples of the next; then come the trainings that sets are left out of, and
# clips are drawn. Two processes with a core each are done sooner than one after the other with two.
ABREAST := $(addprefix $(E)/,look1.done look2.seen look2.done look.seen look.done look4.seen look4.done left-out.done \
	events.done)
$(ABREAST): export OMP_NUM_THREADS := 1

$(E)/look1.done: | .venv/ready
	$(LOOK1)
	$(MARK)
$(E)/look2.seen: | .venv/ready
	$(LOOK2) --features-only
	$(MARK)
$(E)/look2.done: $(E)/look1.done $(E)/look2.seen
	$(LOOK2)
	cp weights/embedded/look.safetensors $(E)/look2/end.safetensors
	$(MARK)
$(E)/look.seen: | .venv/ready
	$(LOOK3) --features-only
	$(MARK)
$(E)/look.done: $(E)/look2.done $(E)/look.seen
	$(LOOK3)
	cp weights/embedded/look.safetensors $(E)/look/end.safetensors
	$(MARK)
$(E)/look4.seen: | .venv/ready
	$(LOOK4) --features-only
	$(MARK)
$(E)/look4.done: $(E)/look.done $(E)/look4.seen
	$(LOOK4)
	cp weights/embedded/look.safetensors $(E)/look4/end.safetensors
	$(MARK)
$(E)/left-out.done: $(E)/look.seen
	$(BIN)/python -m finetune.leave_out --data $(DATA) --features $(E)/look/features --limit 258 --steps 250 \
		--weights-only --out $(E)/left-out
	$(MARK)

# How far odd patches and references count is chosen on sets that a judge never saw.
$(E)/kinds.done: $(E)/look4.done
	$(BIN)/python -m finetune.average $(E)/look2/end.safetensors $(E)/look/end.safetensors $(E)/look4/end.safetensors
	$(BIN)/python -m finetune.kinds --features $(E)/look/features
	$(MARK)
$(E)/score.done: $(E)/kinds.done $(E)/left-out.done
	$(BIN)/python -m finetune.image_score --data $(DATA) --stranger embedded-open --left-out $(E)/left-out
	$(MARK)
$(E)/fusion.done: $(E)/score.done
	$(BIN)/python -m finetune.fusion --data $(DATA) --stranger embedded-open
	$(MARK)
$(E)/registered.done: $(E)/fusion.done
	$(BIN)/python -m finetune.registered --data $(DATA) --stranger embedded-open
	$(MARK)
$(E)/misplaced.done: $(E)/registered.done
	$(BIN)/python -m finetune.misplaced --data $(DATA) --stranger embedded-open
	$(MARK)
$(E)/calibrated.done: $(E)/misplaced.done
	$(BIN)/python -m finetune.calibrate look --data $(DATA)
	$(BIN)/python -m finetune.new_kinds --data $(DATA) --left-out $(E)/left-out
	$(MARK)

# How clips are weighed is fitted before the language model learns to speak of them.
$(E)/events.done: | .venv/ready
	$(BIN)/python -m data.build events $(E)/events --count 120 --seed 7 --fold train
	$(MARK)
$(E)/clips.done: $(E)/calibrated.done $(E)/events.done
	$(BIN)/python -m finetune.clips --data $(E)/events --out $(E)/clips
	$(MARK)
$(E)/chat.done: $(E)/clips.done
	$(BIN)/python -m finetune.chat --features $(E)/look/features --clips $(E)/events --out $(E)/chat
	$(MARK)
$(E)/references.done: $(E)/chat.done
	$(BIN)/python -m finetune.calibrate references --data $(DATA) --left-out $(E)/left-out
	$(MARK)
$(E)/words.done: $(E)/references.done
	$(BIN)/python -m finetune.calibrate words --data $(DATA)
	$(MARK)
