//go:build !linux

package socket

func maxSeats() int { return 1 << 14 }
