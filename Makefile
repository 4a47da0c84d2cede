PYTHON ?= python3
PROFILE ?= embedded
DATA ?= ../shared/data
BIN := .venv/bin

.PHONY: chat test format lint bench calibrate train-look train-chat eval-val screenshot

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

# Both stages, in order: about 75 minutes on 2 cores. A stopped run goes on where it was.
train-look: .venv/ready
	$(BIN)/python -m finetune.look --data $(DATA) --profile $(PROFILE) --steps 1900
	$(BIN)/python -m finetune.calibrate look --data $(DATA) --profile $(PROFILE)

train-chat: .venv/ready
	$(BIN)/python -m finetune.chat --data $(DATA) --profile $(PROFILE)
	$(BIN)/python -m finetune.calibrate words --data $(DATA) --profile $(PROFILE)

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

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@
