// Package wal is the log on disk: the entries that the members agreed on, in
// order, and Raft's hard state, in segment files of one directory.
//
// # Promise
//
// When Append returns nil, its entries and state are on the disk, whole. What
// was confirmed in this way is there at the next Open, or Open refuses with one
// sentence that names the file. A log never starts short and never with other
// contents. What was not confirmed may be there or not, a batch as a whole.
//
// The package is pure over a Dir: no goroutine, clock, randomness or logging in
// it, so that a simulator can run it over a disk that fails. A Log belongs to one
// goroutine.
//
// # Batches and frames
//
// The log is only ever written at its end. An Append is a batch: one write, one
// sync. A batch has a number, one more than the batch before; it is made of
// frames, of which the last is marked, so that a torn batch is cut as a whole. A
// frame's checksum covers the checksum of the frame before, its own offset and
// its segment's header: a frame is valid in one place only, and a hole cannot be
// skipped. An entry whose index exists already takes the place of that entry and
// ends what came behind it; since the log replays in order of writing, the same
// holds after a restart. Layouts: frame.go, header.go, guard.go.
//
// # The guard
//
// A file that is shorter than it was looks like a file that was never longer.
// The guard is a small file of two slots, written in turn after each sync and
// before Append returns. It says which segments must exist and with which batch,
// offset and checksum the log was last known to be synced. A log that ends
// before its guard has lost something, and Open refuses; a torn tail behind the
// guard was never confirmed, and Open cuts it and reports it.
//
// A slot is written without a sync of its own: the page cache outlives a killed
// process, so after kill -9 the guard is exact. It is synced when a segment begins
// or goes, and at Open and Close. Every 64 batches, and when the owner calls
// FlushGuard (once a second is good while entries arrive), the disk is asked to
// write it without anybody waiting for it; the sync of the batches that follow makes
// that durable. After a power loss the guard on the disk may be as old as that. It
// still finds every missing or shortened segment, and every loss up to its age.
// Behind it a damaged batch is found too if any later batch is readable, since a
// batch is only written when the one before is synced. What remains: a disk that
// reported the very last batches synced and drops them, and no older one, when
// the power goes. No log on that disk alone can see that.
//
// # Segments
//
// A batch lies in one segment. Segment files are allocated in advance and behind
// their last batch hold zeros. The header of each repeats what is needed to begin
// there: the base, the hard state, the number and checksum of the batch before.
// Compact deletes whole segments from the old end. A segment is durable and known
// to the guard before anything is written into it.
package wal
