package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/nackmq/nackmq/internal/config"
	"github.com/nackmq/nackmq/internal/socket"
)

// Addresses are what a node really listens on.
type Addresses struct {
	MQTT   string `json:"mqtt"`
	Native string `json:"native"`
	HTTP   string `json:"http"`
}

// listeners are a node's three doors to the network.
type listeners struct {
	mqtt, native, http net.Listener
}

// listen opens all of them or none. Its error names the flag to change.
func listen(ctx context.Context, cfg config.Config) (listeners, error) {
	var l listeners
	for _, want := range []struct {
		flag, addr string
		keepAlive  time.Duration
		to         *net.Listener
	}{
		{"mqtt", cfg.MQTT, 0, &l.mqtt}, // a client may switch off MQTT's own
		{"native", cfg.Native, -1, &l.native},
		{"http", cfg.HTTP, 0, &l.http},
	} {
		ln, err := socket.Listen(ctx, want.addr, want.keepAlive)
		if err != nil {
			l.close()
			return listeners{}, listenError(want.flag, want.addr, err)
		}
		*want.to = ln
	}
	return l, nil
}

// listenError is the sentence for an address that cannot be had.
func listenError(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another program listens on %s already: stop it, or choose another address with --%s", addr, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on %s: choose a port above 1023 with --%s", addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this machine does not have the address %s: choose another with --%s", addr, flag)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("cannot listen on %s (%w): choose another address with --%s", addr, err, flag)
}

func (l listeners) addresses() Addresses {
	return Addresses{MQTT: l.mqtt.Addr().String(), Native: l.native.Addr().String(), HTTP: l.http.Addr().String()}
}

func (l listeners) close() {
	for _, ln := range []net.Listener{l.mqtt, l.native, l.http} {
		if ln != nil {
			ln.Close()
		}
	}
}
