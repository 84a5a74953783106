//go:build !unix

package socket

const canTry = false

// TryWrite is not to be called where FD gives no descriptor.
func TryWrite(int, []byte) (int, error) { panic("socket: no descriptor to write to") }
