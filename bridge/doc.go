// Package bridge is the MQTT door: MQTT 3.1.1 and 5 clients over TCP, TLS and
// WebSocket publish into the log and are served from it. MAPPING.md beside this
// file says what each MQTT feature becomes and which test shows it.
//
// # A publication's way in
//
// Each connection has one goroutine, the reader (client.go). It goes over a
// packet's raw bytes (layout.go), decodes a PUBLISH with mochi-mqtt's codec, checks
// it, takes a place in the connection's queue of acknowledgements (acks.go) and
// hands the item to the [broker.Publisher]. It does not wait: the place is marked
// when the publisher calls back, after the commit, and PUBACK and PUBREC leave from
// the head of the queue while it is marked, so they keep the order of arrival.
//
// # A message's way out
//
// One goroutine, the loop (loop.go), reads the log and serves every session. It
// alone owns the sessions, their windows and the index of subscriptions; others
// ask it through its inbox (inbox.go). A message is matched once for its subject
// (index.go), encoded once for each version, quality of service and retain bit
// (frame.go) and appended to the buffers of the connections (deliver.go); at the
// end of a batch each connection that got something is written once (conn.go). No
// write waits for a peer.
//
// # A session is a cursor
//
// There is no queue of messages for a session. One that is connected and keeps
// up is served as the log grows. One whose window or buffer is full has a cursor:
// the index up to which it was served. When it can take more it is served from the
// log after its cursor (late.go), in order, until it has reached the loop's own
// cursor. What the cache no longer holds by then is lost to it, which is counted,
// logged, and told to an MQTT 5 client.
//
// What a subscription brings that is older than it is a job of its session (jobs.go):
// retained messages, and what came after a place that an MQTT 5 client named
// (position.go). The session's cursor waits for it.
//
// A session that outlives its connection is a record in the log (state.go): it is
// made from it when its client connects, written down now and then (save.go), and
// whole when the connection ends (attach.go). Offline it is that record alone.
//
// # $SYS
//
// How the door is doing is told on topics below $SYS (sys.go), which are not in the
// log: the loop sends them.
//
// # What this package does not do
//
// It sends a message of a shared subscription to a member on this node only.
package bridge
