# SPDX-License-Identifier: MIT
# Lines of text as a string of C, one a line.
s/["\\]/\\&/g
s/.*/"&\\n"/
