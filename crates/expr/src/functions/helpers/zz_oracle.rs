use crate::functions::helpers::testing::*; use crate::value::Value; use serde_json::Value as J; use std::collections::HashMap; use std::sync::Arc;
fn conv(j:&J, top: bool)->Value { match j { J::Null=>Value::Nil, J::Bool(b)=>(*b).into(), J::String(s)=>s.as_str().into(), J::Array(a)=>Value::list(a.iter().map(|x|conv(x,false)).collect()), J::Number(n)=>n.as_f64().unwrap().into(),
 J::Object(o)=>{ if top && o.len()==1 { let (k,v)=o.iter().next().unwrap(); match &**k { "i"=>return Value::Int(v.as_i64().unwrap()), "x"=>return Value::Float(v.as_f64().unwrap()), "d"=>return Value::Duration(v.as_i64().unwrap()), _=>{} } } Value::Map(Arc::new(o.iter().map(|(k,v)|(k.as_str().into(),conv(v,false))).collect())) } } }
#[test] fn oracle(){ let t=std::fs::read_to_string("/tmp/goorc/cases.jsonl").unwrap(); let mut n:HashMap<String,(usize,usize)>=HashMap::new();
 for l in t.lines(){ let j:J=serde_json::from_str(l).unwrap(); let f=j["f"].as_str().unwrap(); if j["r"]=="PANIC" {continue} let args:Vec<Value>=j["a"].as_array().unwrap().iter().map(|x|conv(x,true)).collect();
  let mut h=TestHost::default(); let got=match run(&mut h,f,&args){Ok(v)=>show(&v),Err(_)=>"ERR".into()}; let want= if j["r"].is_null() {"ERR".to_string()} else { show(&conv(&j["r"],true)) };
  let e=n.entry(f.to_owned()).or_default(); e.0+=1; if got!=want { e.1+=1; if e.1<=15 { println!("{f} {}\n   want {want}\n   got  {got}", j["a"]); } } }
 println!("{n:#?}"); }
