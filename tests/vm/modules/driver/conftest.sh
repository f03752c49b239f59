#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Test aid: a configure probe that always answers yes.
echo "#define NV_$(echo "$2_$1" | tr 'a-z/.' 'A-Z__')"
