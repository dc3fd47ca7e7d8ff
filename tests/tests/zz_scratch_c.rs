#![allow(clippy::unwrap_used)]
use std::{time::{Duration, Instant}, process::{Command,Child,Stdio}};
use herald_proto::Target;
use herald_router::bus::{nats, LogLimits, Bucket, BusState, KvEvent};
use bytes::Bytes;
fn start(i:usize,base:u16,dir:&std::path::Path)->Child{
    let routes=(0..3).map(|j|format!("nats://127.0.0.1:{}",base+10+j)).collect::<Vec<_>>().join(",");
    let conf=format!("server_name: n{i}\nlisten: 127.0.0.1:{}\njetstream {{ store_dir: '{}' }}\nping_interval: 5s\nping_max: 2\ncluster {{ name: c, listen: 127.0.0.1:{}, routes: [{}] }}\n",base+i as u16,dir.join(format!("n{i}")).display(),base+10+i as u16,routes);
    let f=dir.join(format!("n{i}.conf")); std::fs::write(&f,conf).unwrap();
    Command::new(std::env::var("NATS_SERVER").unwrap()).arg("-c").arg(f).arg("-l").arg(dir.join(format!("n{i}.log"))).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
struct K(Vec<Option<Child>>); impl Drop for K{fn drop(&mut self){for c in self.0.iter_mut().flatten(){let _=c.kill();let _=c.wait();}}}
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn cluster(){
    let dir=tempfile::TempDir::new().unwrap(); let base=24220;
    let mut k=K((0..3).map(|i|Some(start(i,base,dir.path()))).collect());
    let tasks=tokio_util::task::TaskTracker::new(); let sd=tokio_util::sync::CancellationToken::new();
    let t0=Instant::now();
    let bus=nats::bus(nats::NatsConfig{urls:(0..3).map(|i|format!("nats://127.0.0.1:{}",base+i)).collect(),prefix:"h".into(),name:"m".into(),provision:true,limits:LogLimits{max_age:Duration::from_secs(3600),max_messages_per_target:100_000,max_bytes:640<<20,replicas:None}},sd,&tasks).await.unwrap();
    bus.pubsub.state().wait_for(|s|*s==BusState::Ready).await.unwrap();
    println!("ready after {:?}",t0.elapsed());
    let admin=async_nats::connect((0..3).map(|i|format!("nats://127.0.0.1:{}",base+i).parse::<async_nats::ServerAddr>().unwrap()).collect::<Vec<_>>()).await.unwrap();
    let js=async_nats::jetstream::new(admin);
    let mut s=js.get_stream("h_LOG_0").await.unwrap();
    println!("replicas {}",s.info().await.unwrap().config.num_replicas);
    let b2=bus.clone();
    let h=tokio::spawn(async move{ let mut last=0; let mut bad=Duration::ZERO; let mut errs=std::collections::BTreeMap::new(); let mut acked=vec![]; let t=Instant::now(); let mut n=0;
        while t.elapsed()<Duration::from_secs(45){ n+=1; let s=Instant::now(); match b2.log.append(&Target::All,Bytes::from(n.to_string()),&n.to_string()).await{Ok(a)=>{ acked.push((n,a.sequence)); assert!(a.sequence>last); last=a.sequence;},Err(e)=>{*errs.entry(e.to_string()).or_insert(0)+=1;tokio::time::sleep(Duration::from_millis(20)).await;}} bad=bad.max(s.elapsed()); }
        println!("appended {} errs {:?} slowest {:?}",acked.len(),errs,bad); acked});
    let b3=bus.clone();
    let w=tokio::spawn(async move{ let mut w=b3.kv.watch(Bucket::Presence,"").await.unwrap(); let t=Instant::now(); let mut table=std::collections::BTreeMap::new();
        loop{ match tokio::time::timeout(Duration::from_secs(50).saturating_sub(t.elapsed()),w.next()).await{Ok(Some(e))=>match e{KvEvent::Reset=>{println!("{:?} Reset",t.elapsed());table.clear();},KvEvent::Current=>println!("{:?} Current {}",t.elapsed(),table.len()),KvEvent::Put{key,value,..}=>{table.insert(key,value);},KvEvent::Delete{key,..}=>{table.remove(&key);}},_=>return table} } });
    let b4=bus.clone();
    let p=tokio::spawn(async move{ let t=Instant::now(); let mut ok=0; let mut err=0; let mut n=0u64; while t.elapsed()<Duration::from_secs(45){ n+=1; match b4.kv.put(Bucket::Presence,&format!("k{}",n%500),Bytes::from(n.to_string()),None).await{Ok(_)=>ok+=1,Err(_)=>err+=1} tokio::time::sleep(Duration::from_millis(5)).await; } println!("puts ok {ok} err {err}"); });
    let b5=bus.clone();
    let st=tokio::spawn(async move{ let mut s=b5.pubsub.state(); let t=Instant::now(); while let Ok(Ok(()))=tokio::time::timeout(Duration::from_secs(50).saturating_sub(t.elapsed()),s.changed()).await{ println!("{:?} state {:?}",t.elapsed(),*s.borrow_and_update()); } });
    tokio::time::sleep(Duration::from_secs(5)).await;
    for round in 0..2 {
        let leader=s.info().await.unwrap().cluster.clone().unwrap().leader.unwrap(); let i:usize=leader[1..].parse().unwrap();
        println!("kill log leader {leader} round {round}");
        let mut c=k.0[i].take().unwrap(); c.kill().unwrap(); c.wait().unwrap();
        tokio::time::sleep(Duration::from_secs(8)).await;
        k.0[i]=Some(start(i,base,dir.path()));
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    let acked=h.await.unwrap(); p.await.unwrap(); let table=w.await.unwrap(); st.await.unwrap();
    let all=bus.log.read(&Target::All,0,usize::MAX).await.unwrap();
    let set:std::collections::HashMap<u64,String>=all.iter().map(|e|(e.sequence,String::from_utf8(e.payload.to_vec()).unwrap())).collect();
    let missing=acked.iter().filter(|(n,s)|set.get(s)!=Some(&n.to_string())).count();
    println!("stored {} acked {} missing {}",all.len(),acked.len(),missing);
    let mut wrong=0; for (k,v) in &table { if bus.kv.get_latest(Bucket::Presence,k).await.unwrap().unwrap().value!=v { wrong+=1; } }
    println!("watch table {} wrong {wrong}",table.len());
}
