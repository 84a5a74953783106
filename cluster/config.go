package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// Config says what a member works with. A zero field means its default.
type Config struct {
	DataDir string // must be given; made if it does not exist

	Limits        stream.Limits // of the ledger, the same on all members; each has its default
	SnapshotBytes int64         // log bytes between two snapshots; default half of Limits.CacheBytes
	SegmentBytes  int64         // of a file of the log; default 64 MiB
	QueueBytes    int64         // publications waiting to be committed; beyond it broker.ErrBusy; default 64 MiB
	CloseTimeout  time.Duration // how long Close waits for what is under way; default 10 s

	Log        zerolog.Logger        // the zero Logger says nothing
	Registerer prometheus.Registerer // nil: no metrics

	// openDir opens a directory below DataDir; tests put a failing one here.
	openDir func(path string) (wal.Dir, func() error, error)
}

func (c *Config) setDefaults() {
	if c.QueueBytes == 0 {
		c.QueueBytes = 64 << 20
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = 10 * time.Second
	}
	if c.openDir == nil {
		c.openDir = openOSDir
	}
}

// Validate says what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.DataDir == "":
		return errors.New("cluster: there is no data directory: name one")
	case c.SnapshotBytes < 0 || c.SegmentBytes < 0 || c.QueueBytes < 0 || c.CloseTimeout < 0:
		return errors.New("cluster: sizes and times must not be negative")
	}
	if err := c.Limits.Validate(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

func openOSDir(path string) (wal.Dir, func() error, error) {
	d, err := wal.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}
