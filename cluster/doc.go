// Package cluster is the member of a cluster: it drives the engine with a disk, a
// clock and, once there is more than one member, a network. A node on its own is
// a cluster of one: the same code with one voter and no port.
//
// # Who runs what
//
// Open starts three goroutines, and Close waits for them:
//
//	loop   owns the engine and calls it; it waits for the disk only to read entries
//	       that are no longer in memory, since a sync holds the lock of the log
//	disk   changes the log: one write and one sync at a time
//	house  writes snapshots
//
// Publishers run in goroutines of their own. Publish packs into a queue under a
// lock that is held for a copy, and wakes the loop when there is something to do:
// a full batch, or anything at all while the disk is free.
//
// # The data directory
//
//	LOCK        held by the process that uses the directory; has its pid
//	node.json   who this member is
//	log/        the log: package wal
//	snap/       snapshots: package snap; package store has both
//
// A directory that does not fit together is refused with one sentence that names
// the file; nothing in it is changed. See datadir.go.
package cluster
