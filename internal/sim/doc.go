// Package sim runs members in virtual time on disks that fail, from one seed, and
// checks after every step that they keep their promises.
//
// What runs is what serves: the engine and its queue, the log and its guard, the
// snapshots, what a start makes of them, the ledger and the broker. What is
// simulated is what they stand on: the disk (wal.MemDir, which loses any part of
// what was not synced, by sectors), the clocks, and in front the publishers and the
// clients with sessions. A process is driven as package cluster does
// it, but its disk answers at a moment that the seed chooses, and it may be killed
// or lose power at any step, also between any two operations on its disk.
//
// # What is checked
//
//	P1  a place is given once: (subject, epoch, seq) and index keep their bytes,
//	    and seqs have no hole
//	P2  an entry is applied only when a majority has it synced; what was confirmed
//	    or read is there after every restart
//	P6  a publication that is repeated gets the place of the first
//	S11 what a session publishes under a number, and S12 each of its wills, is
//	    placed once at most
//	S1  a ledger that was rebuilt from a snapshot and the log behind it is, byte by
//	    byte, one that never stopped
//	    time never decreases along the log and runs with the monotonic clock
//	    every done is called once, and when the weather is fine again everybody gets
//	    an answer
//
// # Several members
//
// With Config.Nodes above 1 they agree over a network that loses, delays and cuts.
// Members do not send one another snapshots yet, so none compacts its log then. Raft
// draws election timeouts from crypto/rand.Reader, which such a run replaces; so
// they run one at a time.
//
// A run that breaks one of them ends with an error that names the seed, and the
// same seed gives the same run. Bugs can be planted from outside the code under
// test (type Bug), to see that they are found.
package sim
