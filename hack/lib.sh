# shellcheck shell=bash disable=SC2034
# What the shell tools in this folder share: the cache's place, messages, and how a tool's text reaches `-help`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tool=$(basename "$0")
# Where Debian has the tools for modules and file systems, also for one who is not root.
export PATH=$PATH:/usr/sbin:/sbin
export APUS_CACHE=${APUS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/apus}

# Says something to the person in front of the screen; stdout is for results.
say() { printf '%s: %s\n' "$tool" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Prints the comment at the head of the running tool: the lines after `#!` up to the first that is no comment.
print_help() { sed -n '2,/^[^#]/{ /^#/!q; s/^# \{0,1\}//; p; }' "$0"; }

# True where /dev/kvm can run a Linux guest: a host whose CPU virtualises, and a device that we may open.
has_kvm() { [ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; }
