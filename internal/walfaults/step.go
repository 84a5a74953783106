package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is what runs in a process of its own.
func step(what, name string, args []string) error {
	k := kindOf(name)
	switch what {
	case "write":
		s, err := fill(k, args[0], total-batch)
		if err != nil {
			return err
		}
		if err := copyDir(args[0], args[1]); err != nil {
			return err
		}
		if err := addTo(s, total-batch+1); err != nil {
			return err
		}
		os.Exit(0) // killed: nothing is closed
	case "read":
		want, _ := strconv.Atoi(args[1])
		fmt.Println(read(k, args[0], want))
	case "fulldisk":
		return fullDisk(k, args[0])
	case "nosync":
		return nosync(k, args[0])
	case "bench":
		return benchOne(k, args)
	}
	return nil
}

func addTo(s store, from int) error {
	var data [][]byte
	for i := range batch {
		data = append(data, entry(uint64(from+i), size))
	}
	return s.add(uint64(from), data)
}

func fill(k kind, dir string, n int) (store, error) {
	if err := os.MkdirAll(dir[:len(dir)-len("/log")], 0o700); err != nil {
		return nil, err
	}
	s, err := k.create(dir, segment)
	for i := 1; err == nil && i <= n; i += batch {
		err = addTo(s, i)
	}
	return s, err
}

// read opens a store and says what it holds.
func read(k kind, dir string, want int) string {
	s, err := k.open(dir, segment)
	if err != nil {
		return "refuses: " + err.Error()
	}
	data, told, err := s.all()
	for i, d := range data {
		if !bytes.Equal(d, entry(uint64(i+1), size)) {
			return fmt.Sprintf("**DIFFERENT** from entry %d on", i+1)
		}
	}
	if err != nil {
		return fmt.Sprintf("opens; reading entry %d: %v", len(data)+1, err)
	}
	if told != "" {
		told = ", told: " + told
	}
	switch n := len(data); {
	case n < want:
		return fmt.Sprintf("**SHORT** by %d%s", want-n, told)
	case n > want && n < want+batch:
		return fmt.Sprintf("part of the batch%s", told)
	case n > want:
		return "all, and the batch" + told
	}
	if want < total && told == "" {
		return "cut, silently"
	}
	return "all" + told
}

// full fills a small disk until an append fails, and opens what is there, still full.
func full(k kind, dir string) string {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err.Error()
	}
	if err := syscall.Mount("walfaults", dir, "tmpfs", 0, "size=3m"); err != nil {
		return fmt.Sprint("– (no mount: ", err, ")")
	}
	defer syscall.Unmount(dir, unix.MNT_DETACH)
	out := self("fulldisk", k.name, join(dir, "log"))
	stop, n, ok := strings.Cut(out, "\n")
	if !ok {
		return out
	}
	return stop + "then " + self("read", k.name, join(dir, "log"), n)
}

// fullDisk is the filling: it prints what happened and how many were confirmed.
func fullDisk(k kind, dir string) error {
	s, err := k.create(dir, segment)
	n := 0
	for ; err == nil && n < 100_000; n += batch {
		if err = addTo(s, n+1); err != nil {
			break
		}
	}
	if err == nil {
		fmt.Println("never full")
		return nil
	}
	fmt.Printf("stops: %v; ", base(err.Error()))
	if k.name != etcdWAL.name && addTo(s, n+1) == nil { // etcd's panics when it is used again
		fmt.Print("**next append confirmed**; ")
		n += batch
	}
	fmt.Printf("\n%d\n", n)
	os.Exit(0)
	return nil
}

// nosync makes every fsync and fdatasync of this process fail, as a dying disk does,
// and appends.
func nosync(k kind, dir string) error {
	s, err := fill(k, dir, 100)
	if err != nil {
		return err
	}
	if err := failSyncs(); err != nil {
		fmt.Println("– (no seccomp:", err, ")")
		return nil
	}
	defer os.Exit(0)
	for i := 101; i <= 121; i += batch {
		if err := addTo(s, i); err == nil {
			fmt.Printf("**CONFIRMS** entry %d\n", i)
			return nil
		} else if i == 101 {
			fmt.Printf("stops: %s\n", base(err.Error()))
		}
	}
	return nil
}

// failSyncs installs a seccomp filter: fsync, fdatasync and sync_file_range give EIO.
func failSyncs() error {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(k uint32, jt, jf uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: jt, Jf: jf, K: k}
	}
	prog := []unix.SockFilter{
		stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0),
		jump(unix.SYS_FSYNC, 3, 0),
		jump(unix.SYS_FDATASYNC, 2, 0),
		jump(unix.SYS_SYNC_FILE_RANGE, 1, 0),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EIO)),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fp := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fp))); e != 0 {
		return e
	}
	return nil
}
