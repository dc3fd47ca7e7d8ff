#![allow(clippy::unwrap_used)]
use std::{sync::Arc, time::{Duration, Instant}, sync::atomic::{AtomicU64, Ordering}};
use herald_proto::Target;
use herald_router::bus::{memory, LogLimits, LiveSink, LiveCopy, Bucket};
use bytes::Bytes;
struct Count(AtomicU64);
impl LiveSink for Count { fn live(&self,_:&Target,_:LiveCopy){ self.0.fetch_add(1,Ordering::Relaxed);} }
fn rss()->u64{ let s=std::fs::read_to_string("/proc/self/statm").unwrap(); s.split(' ').nth(1).unwrap().parse::<u64>().unwrap()*4096 }
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn measure(){
    let bus=memory::bus(LogLimits{max_age:Duration::from_secs(3600),max_messages_per_target:1000,max_bytes:64<<20,replicas:None});
    let sink:Arc<dyn LiveSink>=Arc::new(Count(AtomicU64::new(0)));
    let n=200_000;
    let mut subs=Vec::with_capacity(n);
    let a=rss();
    for i in 0..n { subs.push(bus.log.subscribe(&Target::user(format!("user-{i:08}")),sink.clone()).await.unwrap()); }
    println!("per subscription {} B", (rss()-a)/n as u64);
    let p=Bytes::from(vec![1;200]);
    for round in 0..2 {
    let t=Instant::now(); let m=200_000;
    for i in 0..m { bus.log.append(&Target::user(format!("user-{:08}",i%1000)),p.clone(),&format!("c.conn.{round}.{i}.user")).await.unwrap(); }
    println!("append {} ns", t.elapsed().as_nanos()/m);
    }
    let t=Instant::now(); let m=200_000;
    let hs:Vec<_>=(0..2).map(|w|{let bus=bus.clone();let p=p.clone(); tokio::spawn(async move{ for i in 0..m/2 { bus.log.append(&Target::user(format!("user-{:08}",i%1000)),p.clone(),&format!("d.{w}.{i}.user")).await.unwrap(); }})}).collect();
    for h in hs {h.await.unwrap();}
    println!("append by 2 threads {} ns each overall", t.elapsed().as_nanos()/m as u128);
    let t=Instant::now();
    for i in 0..m { bus.log.publish_ephemeral(&Target::user(format!("user-{:08}",i%1000)),p.clone()).await.unwrap(); }
    println!("ephemeral {} ns", t.elapsed().as_nanos()/m as u128);
    let mut q=bus.pubsub.queue_subscribe("x","q").await.unwrap();
    tokio::spawn(async move{ while let Some(r)=q.next().await { r.reply.send(r.payload).await.unwrap(); }});
    let t=Instant::now();
    for _ in 0..100_000 { bus.pubsub.request("x",p.clone(),Duration::from_secs(1)).await.unwrap(); }
    println!("request {} ns", t.elapsed().as_nanos()/100_000);
    let t=Instant::now();
    for i in 0..200_000 { bus.kv.put(Bucket::Presence,&format!("u{i}.n.1"),p.clone(),None).await.unwrap(); }
    println!("put {} ns", t.elapsed().as_nanos()/200_000);
    let t=Instant::now();
    let mut w=bus.kv.watch(Bucket::Presence,"").await.unwrap();
    while !matches!(w.next().await,Some(herald_router::bus::KvEvent::Current)) {}
    println!("watch snapshot 200k {:?}", t.elapsed());
}
