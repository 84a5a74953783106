//go:build !linux

package bridge

import (
	"net"
	"time"
)

func tune(*net.TCPConn, time.Duration) {}
