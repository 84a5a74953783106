package node

import (
	"html/template"
	"net/http"
)

// servePage answers a browser at "/" with what this node is and where to look.
func (n *Node) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = page.Execute(w, n.Status()) // the client is gone if this fails
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>NackMQ {{.Name}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }
pre { background: #eee; color: #111; padding: .75rem; overflow-x: auto }
td { padding-right: 2rem }
</style>
<h1>NackMQ</h1>
<p>Node <b>{{.Name}}</b>, version {{.Version}}: {{.State}}.</p>
<table>
<tr><td>MQTT</td><td>{{.Listen.MQTT}}, WebSocket at /mqtt</td></tr>
<tr><td>native</td><td>{{.Listen.Native}}, WebSocket at /nack</td></tr>
<tr><td>messages in the log</td><td>{{.Log.Head}}</td></tr>
<tr><td>subjects</td><td>{{.Log.Subjects}}</td></tr>
</table>
<pre>nackmq sub --server nack://{{.Listen.Native}} '/demo/#'
nackmq pub --server nack://{{.Listen.Native}} /demo/hello 'hello, world'</pre>
<p><a href="/api/v1/status">status</a> · <a href="/metrics">metrics</a> · <a href="/readyz">readyz</a> · <a href="/livez">livez</a></p>
</html>
`))
