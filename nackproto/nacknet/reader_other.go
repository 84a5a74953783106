//go:build !linux

package nacknet

func newReadFrom(c *conn) readFrom {
	return &netReader{nc: c.nc, small: make([]byte, smallRead)}
}
