//go:build !linux

package wal

import "os"

func lock(*os.File) error                   { return nil }
func allocate(f *os.File, size int64) error { return f.Truncate(size) }
func datasync(f *os.File) error             { return f.Sync() }
func flush(f *os.File) error                { return nil }
