// Package broker owns the log of this member: a stream.Ledger and the lock that
// guards it. There is one door in, Apply, and one door out, reading after a
// place. The log is the queue: a reader has a cursor, and a slow reader slows
// nobody.
//
// Locking, in three sentences. One read-write mutex guards the ledger and the list
// of readers: Apply, Restore, View, NewReader and Reader.Close take it for writing,
// everything else for reading. No call under it leaves the package but to stream.
// Messages handed out are immutable and are used after the lock is released.
//
// What it does not do: it knows no socket, no disk, no clock and no protocol, and
// it starts no goroutine.
package broker
