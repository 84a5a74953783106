//go:build !linux

package cluster

import "os"

func flock(*os.File) error { return nil }
