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
# shellcheck source=contracts.sh
. "$_lode_lib/contracts.sh"
# shellcheck source=cargo_tools.sh
. "$_lode_lib/cargo_tools.sh"
# shellcheck source=links.sh
. "$_lode_lib/links.sh"
# shellcheck source=purity.sh
. "$_lode_lib/purity.sh"
# shellcheck source=lanes.sh
. "$_lode_lib/lanes.sh"
unset _lode_lib
