#!/bin/sh
# need.sh cc|mosquitto: installs what the tests need when this machine lacks it.
# Prints nothing when all is there; one sentence and exit 1 when it cannot help.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

case "${1:-}" in
cc)
	have "${CC:-gcc}" && exit 0
	packages="gcc libc6-dev"
	why="the race detector needs a C compiler"
	;;
mosquitto)
	# Debian keeps the broker in /usr/sbin, which is not on everybody's PATH.
	PATH="$PATH:/usr/sbin:/usr/local/sbin"
	have mosquitto_pub && have mosquitto_sub && have mosquitto && exit 0
	packages="mosquitto mosquitto-clients"
	why="the tests talk to NackMQ with Mosquitto's clients, and the benchmarks compare with its broker"
	;;
*)
	echo "need.sh: want cc or mosquitto" >&2
	exit 2
	;;
esac

if ! have apt-get; then
	echo "make: $why: install $packages, or what your system calls them, and try again" >&2
	exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
	if ! have sudo; then
		echo "make: $why: run 'apt-get install $packages' as root and try again" >&2
		exit 1
	fi
	sudo="sudo"
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 1' INT TERM

# Where systemd runs, Debian would start the broker on port 1883 at once, which
# is NackMQ's port as well: say no to that for as long as the installation takes.
policy=/usr/sbin/policy-rc.d
if [ -d /run/systemd/system ] && [ ! -e "$policy" ] && [ "$1" = mosquitto ]; then
	trap 'rm -f "$out"; $sudo rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
fi

echo "make: installing $packages ($why)"
$sudo apt-get update -q >/dev/null 2>&1 || true # an old list may still do
# shellcheck disable=SC2086
if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >"$out" 2>&1; then
	tail -n 5 "$out" >&2
	echo "make: $why, and apt-get could not install $packages" >&2
	exit 1
fi
