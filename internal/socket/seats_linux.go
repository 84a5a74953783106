package socket

import "golang.org/x/sys/unix"

// spareFiles is what a node needs beside its connections: the log, snapshots,
// listeners, polls, and a connection that is told that there is no room.
const spareFiles = 128

func maxSeats() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1 << 14
	}
	return int(min(max(lim.Cur, 2*spareFiles)-spareFiles, 1<<20))
}
