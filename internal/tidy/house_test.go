package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nackmq/nackmq"

// A room is what the law says of a package: which of our packages it may import,
// and whether it is pure. A pure room knows no socket, disk, lock, goroutine,
// clock, log or randomness; the files named in except may.
type room struct {
	imports []string
	pure    bool
	except  []string
}

// house is the law. Imports go down; doors (bridge, nackproto/nacknet, cluster)
// never know one another.
var house = map[string]room{
	// 0 cellar
	"stream": {pure: true},
	// ½ machines
	"nackproto":         {pure: true, imports: []string{"stream"}},
	"nackproto/session": {pure: true, imports: []string{"stream", "nackproto"}},
	"cluster/wal":       {pure: true, except: []string{"osdir.go", "osdir_linux.go", "osdir_other.go"}},
	"cluster/snap":      {pure: true, imports: []string{"cluster/wal"}},
	// 1 hearth
	"broker":            {imports: []string{"stream"}},
	"broker/brokertest": {imports: []string{"stream", "broker"}},
	// 1½ engine
	"cluster/engine": {pure: true, imports: []string{"stream", "broker", "cluster/wal"}},
	"cluster/store":  {pure: true, imports: []string{"stream", "cluster/wal", "cluster/snap", "cluster/engine"}},
	// 2 doors
	"bridge":            {imports: []string{"stream", "broker", "internal/metrics", "internal/socket"}},
	"nackproto/nacknet": {imports: []string{"stream", "broker", "nackproto", "nackproto/session", "internal/metrics", "internal/socket"}},
	"cluster":           {imports: []string{"stream", "broker", "cluster/wal", "cluster/snap", "cluster/engine", "cluster/store"}},
	// 3 hall
	"compare":          {},
	"internal/metrics": {},
	"internal/socket":  {},
	"internal/config":  {imports: []string{"stream"}},
	"internal/node":    {imports: []string{"stream", "broker", "nackproto", "nackproto/session", "nackproto/nacknet", "bridge", "cluster", "internal/metrics", "internal/socket", "internal/config"}},
	"internal/sim":     {imports: []string{"stream", "broker", "cluster/wal", "cluster/snap", "cluster/engine", "cluster/store"}},
	"internal/tidy":    {},
	"internal/leak":    {},
	// 4 porch
	"cmd/nackmq": {imports: []string{"stream", "nackproto", "nackproto/nacknet", "internal/node", "internal/config"}},
}

var impureImports = []string{
	"net", "net/http", "os", "os/exec", "sync", "sync/atomic", "syscall", "golang.org/x/sys/unix",
	"math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "github.com/rs/zerolog",
}

var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func TestImportsGoDown(t *testing.T) {
	for pkg, files := range packages(t) {
		law, ok := house[pkg]
		if !ok {
			t.Errorf("package %s has no room: enter it in house, with an ADR", pkg)
			continue
		}
		for name, f := range files {
			for _, imp := range f.Imports {
				p, _ := strconv.Unquote(imp.Path.Value)
				if ours, is := strings.CutPrefix(p, module+"/"); is && !slices.Contains(law.imports, ours) {
					t.Errorf("%s/%s imports %s, which %s may not", pkg, name, ours, pkg)
				}
			}
		}
	}
}

func TestPureRoomsStayPure(t *testing.T) {
	for pkg, files := range packages(t) {
		law := house[pkg]
		if !law.pure {
			continue
		}
		for name, f := range files {
			if slices.Contains(law.except, name) {
				continue
			}
			timeName := ""
			for _, imp := range f.Imports {
				p, _ := strconv.Unquote(imp.Path.Value)
				if slices.Contains(impureImports, p) {
					t.Errorf("%s/%s imports %s: %s is pure", pkg, name, p, pkg)
				}
				if p == "time" {
					if timeName = "time"; imp.Name != nil {
						timeName = imp.Name.Name
					}
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s/%s starts a goroutine: %s is pure", pkg, name, pkg)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(impureTime, n.Sel.Name) {
						t.Errorf("%s/%s uses time.%s: take now as an argument", pkg, name, n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func TestPackagesTellTheirStory(t *testing.T) {
	for pkg, files := range packages(t) {
		told := false
		for _, f := range files {
			told = told || f.Doc != nil
		}
		if !told {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

// sleepers are the tests that may wait in real time, and what they wait for. In
// all others time is an argument or that of a bubble (testing/synctest).
var sleepers = map[string]string{
	"compare":                               "other processes",
	"nackproto/nacknet/door_test.go":        "a socket",
	"nackproto/nacknet/receivers_test.go":   "what is on its way to another process",
	"nackproto/nacknet/stuck_bench_test.go": "a rate of publishing",
}

func TestTestsDoNotSleep(t *testing.T) {
	for pkg, files := range testPackages(t) {
		for name, f := range files {
			if sleepers[pkg] != "" || sleepers[pkg+"/"+name] != "" || imports(f, "testing/synctest") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
						t.Errorf("%s/%s sleeps in real time: use a bubble, or say in sleepers what it waits for", pkg, name)
					}
				}
				return true
			})
		}
	}
}

func imports(f *ast.File, path string) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

// packages parses every Go file of our module that is not a test, by package
// folder and file name; testPackages the others. Nested modules are not ours to
// judge.
func packages(t *testing.T) map[string]map[string]*ast.File     { return parse(t, false) }
func testPackages(t *testing.T) map[string]map[string]*ast.File { return parse(t, true) }

func parse(t *testing.T, tests bool) map[string]map[string]*ast.File {
	t.Helper()
	root := repoRoot(t)
	all := make(map[string]map[string]*ast.File)
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(p, "go.mod"))
			if rel != "." && (nested == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") != tests {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(rel)
		if all[pkg] == nil {
			all[pkg] = make(map[string]*ast.File)
		}
		all[pkg][path.Base(rel)] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("found %d packages below %s: the test looks in the wrong place", len(all), root)
	}
	return all
}

func repoRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(b), "module "+module+"\n") {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod of " + module + " above the test")
		}
		dir = filepath.Dir(dir)
	}
}
