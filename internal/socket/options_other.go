//go:build !linux

package socket

import (
	"syscall"
	"time"
)

func setOptions(syscall.RawConn, time.Duration) error { return nil }
