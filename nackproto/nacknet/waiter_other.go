//go:build !linux

package nacknet

import "github.com/nackmq/nackmq/nackproto/session"

const canWait = false

// A waiter is not needed where writes are not tried.
type waiter struct{}

func newWaiter(*loop) (*waiter, error) { return &waiter{}, nil }

func (*waiter) wait(int, session.ID) { panic("nacknet: nothing to wait for") }
func (*waiter) close()               {}
