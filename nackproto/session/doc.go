// Package session is the server's end of the native protocol, for all
// connections of one loop at once. It is pure: a Core is driven by what happened
// (Open, Input, Messages, Wrote, Writable, Placed, Tick, Closed) and answers
// through a Driver. It knows no socket, goroutine, lock, clock, log or
// randomness; PROTOCOL.md says what it does.
//
// # The log is the queue
//
// A session has no queue of messages. It is caught up, and then every batch that
// the loop's reader brings is written to it at once, or it is behind, and then
// it has a place in the log and reads on from there when its connection takes
// bytes again. There are two kinds of place:
//
//   - a gap: a position within one subject. A NACK, a mark of a client that comes
//     back, and a subject whose message could not be written are the same gap.
//   - a cursor: an index of the log. A session that follows many subjects and
//     falls behind scans the log from there, and so does one that asks for all
//     after an index.
//
// So what a session costs does not depend on how slow it is, and nobody waits
// for it. What the cache lost meanwhile is told by RESET, once for each subject.
// That a subject is new to the loop is no proof that it lost nothing.
//
// A session may follow a million subjects. What has to look at all of them, to tell
// what a lapse lost, to end streams, to tell tops, is a walk, and takes turns.
//
// # What a session costs
//
// Its record and its follows (a session and a subject) have no pointers and lie
// in pages. All that only some sessions need, and most of them for a short time,
// is its cold part: half a frame, answers that wait, gaps, a publisher's window.
// There are no timers; Tick reads one number per session.
//
// # Delivery
//
// A message is encoded once in a batch and its bytes are shared by everybody,
// since an alias is the same for all sessions. Who follows a subject is worked
// out when its first message comes, and kept up to date when sessions come and
// go; wildcard subscriptions that came since are asked when the next message
// comes. A session gets a batch in one write.
//
// A driver takes as much of a write as it can. What does not go out is not kept:
// only the rest of the frame that was cut is, since the log may be trimmed, and
// what else the log does not hold. However large that is, it is no answer that the
// peer left waiting: whether a reader is too slow, only the stuck timer says.
package session
