# SPDX-License-Identifier: MIT
# Makes a C string of a text, each line a string of its own.
s/["\\]/\\&/g
s/.*/"&\\n"/
