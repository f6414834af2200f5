# `make demo` shows the whole chain, `make test` checks it, `make docs` builds the site. Each makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo
DEMO_ARGS ?=
INSTALL := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable
# pip would do it on one processor; a file that does not compile is for another Python
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

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

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# facenet-pytorch's networks are used, not its old pins; constraints.txt names versions that fit
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[train]'
	$(COMPILE)
	touch $@

# and all that .installed stands for: to install in two steps takes longer
$(VENV)/.tested: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[train,teachers,test,docs]'
	$(COMPILE)
	touch $(VENV)/.installed $@

$(VENV)/.documented: $(VENV)/.installed
	$(INSTALL) '.[train,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
