package main

import (
	"errors"
	"net"
	"os"
)

// rootCause takes what the sentence says already out of a network error.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return err
}
