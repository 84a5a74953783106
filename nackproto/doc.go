// Package nackproto is the NACK protocol without I/O: its frames and the
// client's end of it. PROTOCOL.md beside this file is the truth; code here cites
// it by section.
//
// A frame is a file: layout, encoding, decoding, text. Frames that clients send
// implement ClientFrame, those that servers send ServerFrame, so that neither
// end can send what only the other may.
//
// The package is pure. It knows no socket, lock, goroutine, clock or randomness:
// bytes and the time come in as arguments, and what is to be done comes out.
// Package session is the server's end, package nacknet does the I/O of both.
package nackproto
