package main

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nackmq/nackmq/internal/config"
)

const (
	reservedFiles = 64        // files that a node has open beside its connections
	fewFiles      = 10_000    // below this a fleet is turned away soon
	littleSpace   = 1 << 30   // bytes
	noSpace       = 128 << 20 // bytes; two segments of the log
)

// checkFiles looks at how many files, and so connections, a process may open.
func checkFiles(context.Context, *patient) []finding {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return []finding{found(warn, "files", "the limit of open files cannot be read: %v", err)}
	}
	// The Go runtime raises the soft limit to the hard one at start.
	n := lim.Max
	room := max(int64(n), reservedFiles) - reservedFiles
	if n < fewFiles {
		return []finding{found(warn, "files", "%d open files allowed, so at most %d connections: raise the hard limit (ulimit -Hn, or LimitNOFILE= in a systemd unit)", n, room)}
	}
	return []finding{found(ok, "files", "%d open files allowed, so at most %d connections", n, room)}
}

// checkDataDir looks at whether the log can be written, and for how long.
func checkDataDir(_ context.Context, p *patient) []finding {
	const object = "data"
	dir := p.cfg.DataDir
	existing := dir
	for {
		st, err := os.Stat(existing)
		if err == nil && !st.IsDir() {
			return []finding{found(fail, object, "%s is not a directory: name another with --data-dir", existing)}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(existing) == existing {
			return []finding{found(fail, object, "%s cannot be looked at: %v", existing, err)}
		}
		existing = filepath.Dir(existing)
	}
	probe, err := os.CreateTemp(existing, ".nackmq-doctor-*")
	if err != nil {
		return []finding{found(fail, object, "%s cannot be written by this user (%v): give it the directory, or name another with --data-dir", existing, rootPath(err))}
	}
	_, err = probe.Write(make([]byte, 4096))
	if err == nil {
		err = probe.Sync()
	}
	probe.Close()
	os.Remove(probe.Name())
	if err != nil {
		return []finding{found(fail, object, "%s cannot be written (%v): make room, or name another with --data-dir", existing, rootPath(err))}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(existing, &st); err != nil {
		return []finding{found(warn, object, "%s can be written; its free space cannot be read: %v", dir, err)}
	}
	free := int64(st.Bavail) * int64(st.Bsize)
	need := p.cfg.Limits.CacheBytes + p.cfg.Limits.RetainedBytes
	switch {
	case free < noSpace:
		return []finding{found(fail, object, "%s has %s left: the node stops taking messages soon; make room", dir, human(free))}
	case free < max(littleSpace, need):
		return []finding{found(warn, object, "%s has %s left, and cache and retained messages may take %s: make room, or lower limits.cache-bytes and limits.retained-bytes", dir, human(free), human(need))}
	}
	if existing != dir {
		return []finding{found(ok, object, "%s will be made, %s free", dir, human(free))}
	}
	return []finding{found(ok, object, "%s can be written, %s free", dir, human(free))}
}

// checkMemory looks at whether the cache fits.
func checkMemory(_ context.Context, p *patient) []finding {
	const object = "memory"
	total := machineMemory()
	if total == 0 {
		return nil
	}
	need := p.cfg.Limits.CacheBytes + p.cfg.Limits.RetainedBytes
	if need > total/2 {
		return []finding{found(warn, object, "cache and retained messages may take %s of this machine's %s: lower limits.cache-bytes or limits.retained-bytes", human(need), human(total))}
	}
	return []finding{found(ok, object, "cache and retained messages may take %s of this machine's %s", human(need), human(total))}
}

// machineMemory gives the bytes that this process may have: the machine's, or
// its control group's if that is less. 0: unknown.
func machineMemory() int64 {
	total := int64(0)
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if rest, is := strings.CutPrefix(s.Text(), "MemTotal:"); is {
				kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
				total = kib << 10
			}
		}
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n < total {
			total = n
		}
	}
	return total
}

// Years between which a clock is believed.
const earliestYear, latestYear = 2025, 2100

// checkClock looks at whether the machine knows what time it is, as far as it can
// be told from inside: by the node's clock and by what was written before.
func checkClock(_ context.Context, p *patient) []finding {
	const object = "clock"
	now := time.Now()
	if now.Year() < earliestYear || now.Year() > latestYear {
		return []finding{found(fail, object, "it says %s: set it, since ages and expiries are counted by it", now.UTC().Format(time.RFC3339))}
	}
	if p.node != nil {
		if d := now.Sub(p.node.Now).Abs().Round(time.Second); d > 5*time.Second {
			return []finding{found(warn, object, "it differs by %v from the node's: synchronize both (chrony, systemd-timesyncd)", d)}
		}
	}
	newest := time.Time{}
	_ = filepath.WalkDir(p.cfg.DataDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // looked at by checkDataDir
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return nil
	})
	if d := newest.Sub(now).Round(time.Second); d > time.Minute {
		return []finding{found(warn, object, "files in %s are from %v in the future: the clock went back; synchronize it (chrony, systemd-timesyncd)", p.cfg.DataDir, d)}
	}
	return []finding{found(ok, object, "%s", now.UTC().Format(time.RFC3339))}
}

// rootPath takes the path, which the sentence has already, out of err.
func rootPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// human gives a size as people say it.
func human(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', 1, 64) + " " + u.name
		}
	}
	return config.FormatSize(n) + " bytes"
}
