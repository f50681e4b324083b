# make run: the app on http://127.0.0.1:7860.  make test: everything that is tested.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export GRADIO_SERVER_NAME ?= 127.0.0.1
export GRADIO_SERVER_PORT ?= 7860

.PHONY: run test lint clean

run: $(VENV)/installed
	$(BIN)/python app.py

# Three test files at a time in the order of their names: first those with an app, a browser and a training of their own.
test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(VENV)/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

# Chromium from the system where there is one or it can be installed, else Playwright's own.
$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { apt-get update -qq && apt-get install -y -qq chromium; } || $(BIN)/python -m playwright install chromium
	touch $@
