# shellcheck shell=bash
# Everything in scripts/lib, in order.
# shellcheck source-path=SCRIPTDIR
_lode_lib="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=common.sh
. "$_lode_lib/common.sh"
# shellcheck source=packages.sh
. "$_lode_lib/packages.sh"
# shellcheck source=rust.sh
. "$_lode_lib/rust.sh"
# shellcheck source=node.sh
. "$_lode_lib/node.sh"
# shellcheck source=docker.sh
. "$_lode_lib/docker.sh"
# shellcheck source=build.sh
. "$_lode_lib/build.sh"
# shellcheck source=images.sh
. "$_lode_lib/images.sh"
# shellcheck source=analysis.sh
. "$_lode_lib/analysis.sh"
unset _lode_lib
