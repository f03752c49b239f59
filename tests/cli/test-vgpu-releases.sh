#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What test-vgpu.sh does, for the machines that show the same peculiarities on the other releases.
more=yes
. "$(dirname "$0")/test-vgpu.sh"
