// Package nacknet brings the native protocol to sockets: TCP, TLS and WebSocket.
//
// The server's end: a Server has some loops, each of them one goroutine with a
// session.Core, a broker.Reader and an inbox; a connection belongs to one loop
// for its life. A connection's reader is a goroutine that hands bytes to its
// loop and waits for leave to read more. The loop writes; what a socket does not
// take at once is waited for by an epoll (plain TCP on Linux) or written by a
// goroutine that lives as long as the write. Close waits for all of them.
//
// The client's end: a Client is one connection that outlives its connections. It
// goes from server to server, publishes each publication once, and gives each
// subscriber every message in order or tells what was lost; its subscribers send
// nothing while all is well. One goroutine owns its session, two read and write;
// Close waits for them.
package nacknet
