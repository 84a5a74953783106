// Package engine is the loop that turns publications into places: it collects
// them in batches, has Raft agree on the batches, sees to it that they are
// durable first, and applies them.
//
// It is pure. It owns no goroutine, lock, clock, file or socket, and whoever
// drives it calls it from one goroutine. The world reaches it through Handle
// methods, and it asks of the world through Poll methods:
//
//	HandleTime                  the time is …
//	PollWant      HandleFeed    give me a batch of publications that want a place
//	HandleMessage               a member says …
//	PollWrite     HandleWritten     make this durable; it is, or never will be
//	PollMessages                send this
//	PollSnapshot  HandleSnapshotWritten
//	PollCompact   HandleCompacted   the log up to here is no longer needed
//	Step                        apply some of what was agreed on
//
// Package cluster drives it with goroutines, a disk and the real clock;
// internal/sim drives the same code in virtual time with a disk that fails.
//
// # What it promises
//
// A publication's done is called exactly once: with its place once the entry is
// committed and applied here, or with an error. Committed means synced by a
// majority of the voters, of which a single member is one: raft learns of a
// write by HandleWritten only. Nothing is applied, and so nothing can be read,
// before it is committed.
//
// After a write that failed nothing is known about the disk, so nothing more is
// written, confirmed or applied: the engine stops for good, and Err says why.
//
// # Batches
//
// A Queue packs publications into batches as they come. A batch is proposed when
// it is full, or as soon as the disk is free; so while one write is synced the
// next one gathers, and an idle engine waits for nothing. Batches carry the
// member, its life and a count (stream.Origin). One that was proposed is kept
// until it is applied here, since a leader that fails takes proposals with it:
// after a change of leader all are proposed again from the oldest, and the
// ledger drops what it has seen.
//
// # Randomness
//
// Raft draws its election timeouts from crypto/rand.Reader, a variable, and
// there is no way to hand it another source. A single voter does not wait for an
// election timeout (it campaigns as soon as it may), so its runs replay exactly.
// A simulation of several members must set that variable to a seeded reader for
// the length of a run, as testing/cryptotest.SetGlobalRandom does.
package engine
