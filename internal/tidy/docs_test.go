package tidy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mdLink     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	protoRef   = regexp.MustCompile(`PROTOCOL\.md §([0-9]+(?:\.[0-9]+)*)`)
	mdHeading  = regexp.MustCompile(`(?m)^#+\s+§?([0-9]+(?:\.[0-9]+)*)[. ]`)
	topAllowed = []string{
		"bridge", "nackproto", "cluster", "firmware", "compare", "cmd", "stream", "broker", "internal", "docs", "tools",
		"go.mod", "go.sum", "Makefile", "README.md", "CHANGELOG.md", "LICENSE", "staticcheck.conf", ".ci", ".gitignore", ".git",
		"bin", "nackmq-data",
	}
)

func TestLinksResolve(t *testing.T) {
	root := repoRoot(t)
	for _, file := range find(t, root, ".md") {
		text, _ := os.ReadFile(file)
		for _, m := range mdLink.FindAllStringSubmatch(string(text), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path := filepath.Join(filepath.Dir(file), target)
			if rel, err := filepath.Rel(root, path); err != nil || !filepath.IsLocal(rel) {
				t.Errorf("%s links to %s, which others do not have", file, m[1])
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

func TestDecisionsAreListed(t *testing.T) {
	dir := filepath.Join(repoRoot(t), "docs", "adr")
	list, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range find(t, dir, ".md") {
		if name := filepath.Base(file); name != "README.md" && !strings.Contains(string(list), "("+name+")") {
			t.Errorf("docs/adr/README.md does not list %s", name)
		}
	}
}

func TestEveryRoomIsOnTheMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repoRoot(t), "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range house {
		if !strings.Contains(string(text), "| `"+pkg+"` |") {
			t.Errorf("docs/ARCHITECTURE.md has no row for %s", pkg)
		}
	}
}

func TestProtocolSectionsExist(t *testing.T) {
	root := repoRoot(t)
	text, _ := os.ReadFile(filepath.Join(root, "nackproto", "PROTOCOL.md"))
	have := make(map[string]bool)
	for _, m := range mdHeading.FindAllStringSubmatch(string(text), -1) {
		have[m[1]] = true
	}
	for _, file := range find(t, root, ".go") {
		src, _ := os.ReadFile(file)
		for _, m := range protoRef.FindAllStringSubmatch(string(src), -1) {
			if !have[m[1]] {
				t.Errorf("%s names PROTOCOL.md §%s, which is not there", file, m[1])
			}
		}
	}
}

func TestTopLevelIsTheHouse(t *testing.T) {
	entries, err := os.ReadDir(repoRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		ok := false
		for _, a := range topAllowed {
			ok = ok || a == e.Name()
		}
		if !ok && !strings.HasSuffix(e.Name(), ".txt") && !strings.HasSuffix(e.Name(), ".out") {
			t.Errorf("%s stands at the top level: it needs a room, or an ADR", e.Name())
		}
	}
}

func find(t *testing.T, root, suffix string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "nackmq-data" || d.Name() == "bin" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(p, suffix) {
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
