// Package stream is the vocabulary of NackMQ and its arithmetic. It is pure: no
// socket, disk, lock, goroutine, clock or randomness. Who calls it serializes.
//
// # Words
//
// A subject names a series of messages ("/sensor/temp"); a filter names a set of
// subjects ("/sensor/+"). A publication is what somebody wants to say: it has no
// place yet. A message is a publication with a place.
//
// A place is a position: an epoch and a seq within one subject. An epoch is one
// unbroken history of a subject; epochs are compared for equality only. Within
// an epoch seq starts at 1 and has no holes.
//
// The log is the one order over all messages of all subjects. An index is a
// message's place in it; indexes start at 1 and have no holes. A cursor is the
// index up to which a reader has read.
//
// A member is a node of a cluster, named by its node ID; a life is one start of it.
// An entry is what the members of a cluster agree on: a batch of items, each a
// publication with the publisher it came from and that publisher's own number, or
// something that happened to a session.
// The ledger applies entries, in order, the same way on every member. The cache
// is the newest part of the log, which the ledger keeps in memory. A snapshot is the
// ledger without its cache, as bytes.
//
// The log's time is that of its newest entry; a clock tells it between entries.
//
// # Invariants
//
// They are cited by number in the code that keeps them and in the tests.
//
//	S1  Apply is deterministic: equal ledgers that apply equal entries are equal.
//	S2  A position is given once: (subject, epoch, seq) names one message for ever.
//	S3  Within an epoch the seqs of a subject are 1, 2, 3, … without a hole.
//	S4  Indexes are 1, 2, 3, … without a hole, in the order of the entries.
//	S5  An item whose number is not above its publisher's last one gets no new
//	    place; it is answered with the place of the first, as long as the cache
//	    holds it.
//	S6  The cache is a contiguous range of the log, (tail, head]; what leaves it
//	    leaves at the old end, at the same entry on every member.
//	S7  Reading a subject after a position gives all that came after it or fails:
//	    trimmed, other or ahead. It is never partial.
//	S8  The retained message of a subject and its head outlive the cache. A subject
//	    whose head was forgotten comes back under an epoch it never had.
//	S9  A message handed out is immutable. Its bytes stay valid for as long as
//	    somebody holds them, also after the cache let go of it.
//	S10 A fence is given to one attachment of one session, and once. What comes
//	    for a session with another fence than its newest changes nothing.
//	S11 Of a session's publications with one number one gets a place, until the
//	    number is released.
//	S12 A will gets one place: when its session is over, or its delay is, by the
//	    times of entries. It gets none if the client said goodbye or came back
//	    before.
package stream
