# Every target is a command of tools/bootstrap.py, which also works without make.
#
#     make check PYTHON=python3.12        another interpreter (3.11.5 or newer)
#     make demo FRAMEWORK=flask           the counter page under Flask; or FRAMEWORK=mixed
#     make test ARGS="-k cookies -x"      further arguments, for demo, test, soak and bench
#
# A recipe is one plain command, so that make runs it without a shell between itself and the
# program: Ctrl-C then reaches the program, and make says nothing when it ends well.

PYTHON ?= python3
ARGS ?=
FRAMEWORK ?=

.DEFAULT_GOAL := help
TARGETS := help setup demo check lint types test soak bench lock clean
.PHONY: $(TARGETS)

demo: CHOSEN = $(if $(FRAMEWORK),--framework $(FRAMEWORK))

$(TARGETS):
	@$(PYTHON) tools/bootstrap.py $@ $(strip $(CHOSEN) $(ARGS))
