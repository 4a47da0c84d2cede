PYTHON ?= python3
PROFILE ?= embedded
DATA ?= ../shared/data
BIN := .venv/bin

.PHONY: chat test format lint bench train-embedded leave-out eval-val screenshot

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

# All stages, in order, under 3 hours on 2 cores. A stopped run goes on where it was.
train-embedded: .venv/ready
	$(BIN)/python -m finetune.look --data $(DATA) --samples 10240 --steps 1500 --out runs/embedded/look
	$(BIN)/python -m finetune.calibrate look --data $(DATA)
	$(BIN)/python -m finetune.chat --features runs/embedded/look/features --looks 240 --steps 200 --out runs/embedded/chat
	$(BIN)/python -m finetune.calibrate references --data $(DATA)
	$(BIN)/python -m finetune.calibrate words --data $(DATA)

# Every set judged by a model that never saw it, on the cached features of train-embedded.
leave-out: .venv/ready
	$(BIN)/python -m finetune.leave_out --data $(DATA) --features runs/embedded/look/features --steps 150

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

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-scale.txt requirements-eval.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-eval.txt
	touch $@
