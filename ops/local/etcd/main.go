// Command etcd is a current etcd server, built from its published Go module
// for machines whose distribution only packages an old line.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
