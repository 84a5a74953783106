module github.com/nackmq/nackmq

go 1.26
