# `make demo` shows the whole chain, `make test` checks it, `make docs` builds the site. Each makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo
DEMO_ARGS ?=

.PHONY: demo test lint slow docs serve-docs clean

demo: $(VENV)/.installed
	$(BIN)/facekd demo --out $(DEMO_OUT) $(DEMO_ARGS)

test: $(VENV)/.tested lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" -rs

slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m slow -rs

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# links, anchors and the navigation are checked: a warning is an error
docs: $(VENV)/.documented
	$(BIN)/mkdocs build

serve-docs: $(VENV)/.documented
	$(BIN)/mkdocs serve

# facenet-pytorch's networks are used, not its old pins; constraints.txt names versions that fit
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,teachers,test,docs]'
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
