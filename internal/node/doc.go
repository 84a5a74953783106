// Package node puts the rooms together: it opens the ports, reads the log, opens
// the doors, answers over HTTP, and takes everything down again in order.
//
// # A node's life
//
// Start takes the ports first, so that a port that is taken is told before the
// log is touched, and serves HTTP from then on: /livez says that the process is
// alive, /readyz that clients are welcome. Then the member reads its log; then
// the doors begin to accept. What connects meanwhile waits in the kernel.
//
// Stop goes the other way: /readyz says no, the doors send their clients away,
// the member commits what it has taken in, and HTTP ends last. A member that
// cannot go on, because its disk failed or is full, closes Failed; the node is
// to be stopped then, and Stop gives the reason.
//
// Every goroutine that Start begins has ended when Stop returns.
package node
