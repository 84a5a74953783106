// Package socket is what the doors have in common below their protocols: a
// listener with the options that our connections want, the loop that accepts
// from it, and a write that does not wait.
//
// It knows no protocol and keeps nothing: a connection belongs to the door that
// took it.
package socket
